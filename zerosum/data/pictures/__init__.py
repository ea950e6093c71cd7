"""Pictures: how they are found, decoded, labelled, fitted and drawn."""
