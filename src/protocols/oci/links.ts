/**
 * The `Link` header of a page that is followed by another (RFC 8288; distribution specification, "Listing tags").
 * @param listing path or absolute URL of the listing, without query
 * @param query what the next page is asked with; absent values are left out
 */
export function nextPageLink(listing: string, query: Record<string, string | number | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value));
  }
  return `<${encodeURI(listing).replace(/%25([0-9A-Fa-f]{2})/g, '%$1')}?${search}>; rel="next"`;
}
