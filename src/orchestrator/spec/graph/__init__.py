"""How a flow looks: its steps as boxes in boxes, and who waits for whom; as Mermaid text and as SVG."""
