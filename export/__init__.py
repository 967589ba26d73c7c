"""From PyTorch to an artefact: traced, simplified, brought to a precision, verified."""
