"""What every training shares: loop, schedule, objective, devices, progress, records."""
