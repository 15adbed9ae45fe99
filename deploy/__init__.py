"""SageMaker: what carries artifacts to where they are served, and imagery through them."""
