"""What Stripe lacks, under a path prefix of its own: `/meterhouse/v1/`."""
