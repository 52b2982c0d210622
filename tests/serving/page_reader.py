"""The page as a screen reader gets it: the focused node as the accessibility tree has it, and live regions."""

from typing import Any

_WATCH = """
  const regions = "[role=status], [role=alert], [aria-live]";
  window.spoken = [];
  new MutationObserver((changes) => {
    const nodes = changes.map(({ target }) => (target.closest ? target : target.parentElement));
    for (const region of new Set(nodes.map((node) => node?.closest(regions)))) {
      const text = region?.checkVisibility() && region.textContent.replace(/\\s+/g, " ").trim();
      if (text) window.spoken.push(text);
    }
  }).observe(document, { subtree: true, childList: true, characterData: true, attributeFilter: ["hidden"] });
"""
_STATES = {
    "expanded": {True: "expanded", False: "collapsed"},
    "pressed": {"true": "pressed", "false": "not pressed"},
    "checked": {"true": "checked", "false": "not checked"},
    "selected": {True: "selected", False: "not selected"},
    "disabled": {True: "unavailable"},
}
_CONTAINERS = ("dialog", "toolbar", "tablist", "list", "group", "radiogroup")
_OUTLINE = ("heading", "main", "navigation", "banner", "region", "toolbar", "dialog", "tablist", "tabpanel", "list")


class Reader:
    """Listens to one page, until it is loaded anew."""

    def __init__(self, page: Any):
        self.page, self._last, self._inside = page, "", []
        page.browser.execute_script(_WATCH)

    def _ask(self, command: str, **parameters: Any) -> Any:
        return self.page.browser.execute_cdp_cmd(command, parameters)

    def heard(self) -> list[str]:
        """What was said since the last call: live regions, containers that were entered, the focus if it changed."""
        live = self.page.ask("window.spoken.splice(0)")
        found = self._ask("Runtime.evaluate", expression="document.activeElement")["result"]["objectId"]
        nodes = self._ask("Accessibility.getPartialAXTree", objectId=found, fetchRelatives=True)["nodes"]
        by_id = {node["nodeId"]: node for node in nodes}
        inside, above = [], by_id.get(nodes[0].get("parentId"))
        while above:
            if not above["ignored"] and value(above, "role") in _CONTAINERS and value(above, "name"):
                inside.insert(0, spoken(above))
            above = by_id.get(above.get("parentId"))
        focus = spoken(nodes[0])
        entered = [text for text in inside if text not in self._inside] if focus != self._last else []
        is_new, self._last, self._inside = focus != self._last, focus, inside
        return [*(f"says: {text}" for text in live), *entered, *([focus] if is_new else [])]

    def tree(self) -> list[dict[str, Any]]:
        """All nodes that are not ignored, in the order in which they are read."""
        nodes = self._ask("Accessibility.getFullAXTree")["nodes"]
        by_id = {node["nodeId"]: node for node in nodes}

        def below(node: dict[str, Any]) -> list[dict[str, Any]]:
            rest = [one for name in node.get("childIds", ()) if name in by_id for one in below(by_id[name])]
            return rest if node["ignored"] else [node, *rest]

        return below(nodes[0])

    def outline(self) -> list[str]:
        """Landmarks, headings and lists that have a name."""
        return [spoken(node) for node in self.tree() if value(node, "role") in _OUTLINE and value(node, "name")]


def value(node: dict[str, Any], name: str) -> Any:
    """A property of a node of the accessibility tree, "" where there is none."""
    return node.get(name, {}).get("value", "")


def spoken(node: dict[str, Any]) -> str:
    """A node in words: role, name, value, states, description."""
    properties = {entry["name"]: entry["value"].get("value") for entry in node.get("properties", ())}
    states = [said[properties[name]] for name, said in _STATES.items() if properties.get(name) in said]
    role = properties.get("roledescription") or value(node, "role")
    if role == "heading":
        role += f" {properties.get('level')}"
    parts = [role, value(node, "name"), str(value(node, "value")), *states, value(node, "description")]
    return ", ".join(part for part in parts if part)
