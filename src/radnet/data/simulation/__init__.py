"""The parts of a simulated cohort: knobs, study design, planted quantities, images, and what is knowable from them."""
