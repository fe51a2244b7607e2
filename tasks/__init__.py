"""The seven stages of wikistyle, one folder each, and the few things they share."""
