"""The evidence pack of a run: what a reviewer reads, signs and keeps."""
