"""Jobs: independent seeds trained in one program, saved, stopped, resumed, and played with each other."""
