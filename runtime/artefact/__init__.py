"""The artefact: manifest, certificate, and files that are whole or not there."""
