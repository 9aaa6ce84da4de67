/** So many replicas have a colour of their own; a cluster is rarely larger. */
const SERIES = 8;

/**
 * What a custom property of the styles is at the moment, as canvas takes it: such a property itself
 * is text, with the choice between light and dark still in it.
 */
export function colourOf(name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  probe.hidden = true;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** Of the replica at this place among all of them. */
export function seriesName(index: number): string {
  return `--series-${(index % SERIES) + 1}`;
}
