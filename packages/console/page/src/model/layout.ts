/** Where the members of a cluster, and the log between them, are drawn; in CSS pixels. */
export interface Layout {
  readonly direction: 'across' | 'down';
  readonly width: number;
  readonly height: number;
  readonly log: Line;
  readonly nodes: readonly PlacedNode[];
}

export interface Line {
  readonly x1: number;
  readonly y1: number;
  readonly x2: number;
  readonly y2: number;
}

export interface PlacedNode {
  readonly id: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** From the log to the node. */
  readonly link: Line;
  /** Where what is said of the link begins. */
  readonly label: { readonly x: number; readonly y: number };
}

const NODE_HEIGHT = 86;
const GAP = 16;
/** Between a node and the log. */
const LINK = 62;
const MIN_WIDTH = 148;
const MAX_WIDTH = 232;
const PAD = 2;

/** The primary above the log and the others below it; without the room, all in a column. */
export function layoutOf(width: number, primary: string | undefined, others: readonly string[]): Layout {
  const room = (width - 2 * PAD - GAP * (others.length - 1)) / Math.max(1, others.length);
  const isWide = width >= 560 && room >= MIN_WIDTH;
  return isWide ? across(width, room, primary, others) : down(width, primary, others);
}

function across(width: number, room: number, primary: string | undefined, others: readonly string[]): Layout {
  const nodeWidth = Math.min(MAX_WIDTH, room);
  const logY = primary === undefined ? 20 : NODE_HEIGHT + LINK;
  const rowWidth = others.length * nodeWidth + (others.length - 1) * GAP;
  const left = (width - rowWidth) / 2;
  const placed = (id: string, x: number, isAbove: boolean): PlacedNode => {
    const middle = x + nodeWidth / 2;
    const y = isAbove ? 0 : logY + LINK;
    const link = { x1: middle, y1: logY, x2: middle, y2: isAbove ? NODE_HEIGHT : y };
    const label = { x: middle + 10, y: isAbove ? NODE_HEIGHT + LINK / 2 : logY + LINK / 2 };
    return { id, x, y, width: nodeWidth, height: NODE_HEIGHT, link, label };
  };
  const row = others.map((id, index) => placed(id, left + index * (nodeWidth + GAP), false));
  const above = primary === undefined ? [] : [placed(primary, (width - nodeWidth) / 2, true)];
  return {
    ...{ direction: 'across', width, height: logY + LINK + NODE_HEIGHT },
    log: { x1: PAD + 6, y1: logY, x2: width - PAD - 6, y2: logY },
    nodes: [...above, ...row],
  };
}

const RAIL_X = 12;
const INDENT = 52;
const DOWN_GAP = 34;
const TOP = 46;

function down(width: number, primary: string | undefined, others: readonly string[]): Layout {
  const ids = primary === undefined ? others : [primary, ...others];
  const nodes = ids.map((id, index): PlacedNode => {
    const y = TOP + index * (NODE_HEIGHT + DOWN_GAP);
    const middle = y + NODE_HEIGHT / 2;
    const link = { x1: RAIL_X, y1: middle, x2: INDENT, y2: middle };
    const size = { width: width - INDENT - PAD, height: NODE_HEIGHT };
    return { id, x: INDENT, y, ...size, link, label: { x: INDENT + 2, y: y - 11 } };
  });
  const height = TOP + ids.length * (NODE_HEIGHT + DOWN_GAP) - DOWN_GAP + 6;
  return { direction: 'down', width, height, log: { x1: RAIL_X, y1: 8, x2: RAIL_X, y2: height - 8 }, nodes };
}
