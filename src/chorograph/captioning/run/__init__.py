"""Running a captioner over an area: requests, the book of answers, the two engines."""
