"""What is wrong with a cohort folder: its tables, its images and masks, and what would mislead a study."""
