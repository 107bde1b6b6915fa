"""Files that ship with ptune: the tiny encoder, and facts copied from published scripts."""
