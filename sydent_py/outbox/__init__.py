"""What has to reach someone outside, kept until it has."""
