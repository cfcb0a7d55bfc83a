"""A small library, written for these tests: three subjects, names, and what is said of them."""

from __future__ import annotations

from pathlib import Path

ESSAYS = {
    "harbours/tides.md": """# Tides at Port Malin

The harbour master of Port Malin publishes tide tables every spring. Ships wait outside the breakwater until high tide, because the fairway
is shallow. Captain Irene Duval works for Malin Shipping Company and knows every sandbank.

## Storms

When a storm comes from the sea, ships stay at anchor. The lighthouse at Cape Orsk warns ships of the reef.
""",
    "harbours/cranes.md": """# Cranes and cargo

Cargo ships unload at the northern quay. Malin Shipping Company owns four cranes, and a crane lifts forty tons. Captain Irene Duval visited
Port Malin in March. Ships that carry grain moor at the southern quay of the harbour.
""",
    "kitchen/bread.md": """# Sourdough bread

Mix flour and water, and let the dough rest until it rises. Chef Paolo Renzi taught baking at Lindholm Institute. Bake the bread in a hot
oven until the crust is brown. Rye flour makes a dense loaf of bread.
""",
    "kitchen/soup.txt": """Onion soup

Cook the onions in butter until they are brown, then add broth and wine. Serve the soup with toasted bread and cheese. Chef Paolo Renzi
prefers white onions. A pinch of salt and pepper is enough.
""",
    "garden/trees.html": """<html><head><style>p { color: red }</style></head><body><h1>Pruning fruit trees</h1>
<p>Prune apple trees in winter, when the leaves are gone. Cut dead branches first, then branches that cross each other.</p>
<p>Young trees need water in their first summer. The Lindholm Institute keeps an orchard of old apple trees.</p></body></html>
""",
    "garden/roses.rst": """Roses
=====

Cut roses back in spring, just above a bud. Old roses flower once, in early summer; feed the soil with compost. Water the plants in the
morning, never on the leaves.
""",
}


def write_essays(folder: Path) -> Path:
    for name, text in ESSAYS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
