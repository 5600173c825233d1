"""Published layouts into areas."""
