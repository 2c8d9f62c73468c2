/** How long a download URL works, as the observed service's; an object stays for so long after the last look at its row. */
export const DOWNLOAD_SECONDS = 3600;
