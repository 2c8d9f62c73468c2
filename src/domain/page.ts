/** One page of a keyset-paginated listing. `next` is the key to continue after, absent on the last page. */
export interface Page<Item, Key = string> {
  items: Item[];
  next?: Key;
}

export interface PageRequest<Key = string> {
  /** At most this many items. */
  limit: number;
  after?: Key;
}

/** Cuts a result fetched with `limit + 1` rows into a page. */
export function cutPage<Item, Key>(rows: Item[], limit: number, keyOf: (item: Item) => Key): Page<Item, Key> {
  if (rows.length <= limit) return { items: rows };
  const items = rows.slice(0, limit);
  return { items, next: keyOf(items[items.length - 1]!) };
}
