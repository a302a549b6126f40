"""What a new model changes in the risks an old one gave."""
