"""Static figures of an evaluation for print, in one hand; each is drawn from a table and computes no statistic."""
