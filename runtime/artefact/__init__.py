"""The artefact: manifest, certificate, precisions, and files with their hashes."""
