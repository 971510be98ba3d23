"""What every endpoint shares: strict JSON in, one envelope out, one endpoint base, one place that maps failures."""
