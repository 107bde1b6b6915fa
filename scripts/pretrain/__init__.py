"""How the tiny backbones are pretrained: the text as rows, and one module a family."""
