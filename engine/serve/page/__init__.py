"""The web page: Gradio Blocks with one file per tab."""
