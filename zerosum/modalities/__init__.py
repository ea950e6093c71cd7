"""What one sample is, and how it looks outside of tensors: one file for each kind of data."""

from zerosum.data.pictures.source import make_source as make_source
