/**
 * The `Link` header of a page that is followed by another (RFC 8288; distribution specification, "Listing tags").
 * @param listing path or absolute URL of the listing, without query
 * @param query what the next page is asked with; absent values are left out, lists name a parameter repeatedly
 */
export function nextPageLink(
  listing: string,
  query: Record<string, string | number | string[] | undefined>,
): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value ?? []].flat()) search.append(name, String(one));
  }
  return `<${encodeURI(listing).replace(/%25([0-9A-Fa-f]{2})/g, '%$1')}?${search}>; rel="next"`;
}
