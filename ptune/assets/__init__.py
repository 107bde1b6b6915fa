"""Files that ship with ptune: tiny backbones, and facts copied from published scripts."""
