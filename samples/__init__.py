"""What makes wikistyle runnable with no network and no GPU: a sample wiki and tiny, really trained models."""
