"""Rules and passes of products, convolutions and what is folded into their weights."""
