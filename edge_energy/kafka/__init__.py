"""What everything that speaks to Kafka shares; needs the extra "kafka"."""
