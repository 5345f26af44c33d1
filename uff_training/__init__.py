"""Training of the fusion module (UFF): what fusion_pretrain.py runs."""
