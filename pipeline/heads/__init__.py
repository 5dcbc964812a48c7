"""What is trained on cached tokens: the contract of a head, one head a file, tokens as tensors."""

__all__ = ["concat", "contract", "examples", "fdan", "layers", "linear", "majority", "official", "single", "table"]
