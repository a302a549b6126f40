"""What a run can be asked: each function answers one question of a checklist from the record of a study."""
