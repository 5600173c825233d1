"""What is made, shown to people who do not program: pages, standard interfaces, ratings, static sites."""
