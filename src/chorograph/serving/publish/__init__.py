"""An area for elsewhere: files that other programs open."""
