"""How a speech-aware language model is prompted, sampled and scored."""
