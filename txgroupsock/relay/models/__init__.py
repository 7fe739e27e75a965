"""What is wanted, checked: values without anything open."""
