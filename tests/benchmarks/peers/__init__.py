"""What people serve a ViT with instead: complete programs, each as good as a careful user makes it in an hour."""
