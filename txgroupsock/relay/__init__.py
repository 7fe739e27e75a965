"""The relay: inputs, outputs, and the service that runs them."""
