"""Controls that a finding must beat: baselines, permuted outcomes, images without the lesion, and traces of leaks."""
