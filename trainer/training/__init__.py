"""What every training shares: settings, loop, schedule, objective, devices, progress, records."""
