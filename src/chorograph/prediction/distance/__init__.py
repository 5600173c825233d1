"""How far regions lie from those that have labels: on the ground, and in what is known of them."""
