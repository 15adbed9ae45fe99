"""The container: built here, pushed to the stack's repository, and there in the form that SageMaker takes."""
