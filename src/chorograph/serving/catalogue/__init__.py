"""What is served: areas, their indicators as observed and predicted, and a card for each region."""
