/** Where the tiles of a large grid are, from the sizes of its sections: only those near the window need elements. */

/** A run of images that have a heading in common.
 * @typedef {object} Section
 * @property {string} value of the group; empty if it is unknown
 * @property {number} images number of images */

/** @typedef {object} Sizes in pixels
 * @property {number} width of the grid
 * @property {number} tile smallest width of a tile
 * @property {number} gap between tiles
 * @property {number} below height below the picture of a tile
 * @property {number} heading height of a heading; 0: none */

/** @typedef {object} Block a section in the grid
 * @property {Section} section
 * @property {number} first position of its first image
 * @property {number} top of its heading
 * @property {number} bottom */

/** @param {Section[]} sections @param {Sizes} sizes */
export function createLayout(sections, sizes) {
  const columns = Math.max(1, Math.floor((sizes.width + sizes.gap) / (sizes.tile + sizes.gap)));
  const side = (sizes.width - (columns - 1) * sizes.gap) / columns;
  const row = side + sizes.below + sizes.gap;
  /** @type {Block[]} */
  const blocks = [];
  let first = 0;
  let top = 0;
  for (const section of sections) {
    if (!section.images) continue;
    const bottom = top + sizes.heading + Math.ceil(section.images / columns) * row;
    blocks.push({ section, first, top, bottom });
    first += section.images;
    top = bottom;
  }

  /** The last block for which `before` holds; the blocks are in order.
   * @param {(block: Block) => boolean} before */
  function last(before) {
    let low = 0;
    let high = blocks.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (before(blocks[middle])) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  return {
    blocks,
    columns,
    side,
    count: first,
    height: top,
    /** Left and top of the image at a position.
     * @param {number} position */
    place(position) {
      const { first: start, top: above } = blocks[last((block) => block.first <= position)];
      const within = position - start;
      return {
        left: (within % columns) * (side + sizes.gap),
        top: above + sizes.heading + Math.floor(within / columns) * row,
      };
    },
    /** The blocks and positions between two heights: first and end.
     * @param {number} from @param {number} to */
    between(from, to) {
      if (!blocks.length) return { blocks: [], first: 0, end: 0 };
      const start = last((block) => block.top <= from);
      const stop = last((block) => block.top < to);
      /** @param {number} index @param {number} height @param {number} more rows */
      const position = (index, height, more) => {
        const block = blocks[index];
        const rows = Math.max(0, Math.floor((height - block.top - sizes.heading) / row) + more);
        return block.first + Math.min(block.section.images, rows * columns);
      };
      return {
        blocks: blocks.slice(start, stop + 1),
        first: position(start, from, 0),
        end: position(stop, to, 1),
      };
    },
    /** The position above or below another one, in the same column where there is one.
     * @param {number} position @param {number} rows */
    vertical(position, rows) {
      const index = last((block) => block.first <= position);
      const { first: start, section } = blocks[index];
      const column = (position - start) % columns;
      const next = position + rows * columns;
      if (next >= start && next < start + section.images) return next;
      const neighbour = blocks[index + Math.sign(rows)];
      if (!neighbour) return rows > 0 ? start + section.images - 1 : position;
      const lastRow = Math.floor((neighbour.section.images - 1) / columns) * columns;
      const within = (rows > 0 ? 0 : lastRow) + column;
      if (rows > 0 && Math.floor((position - start) / columns) < Math.floor((section.images - 1) / columns)) {
        return start + section.images - 1;
      }
      return neighbour.first + Math.min(within, neighbour.section.images - 1);
    },
  };
}
