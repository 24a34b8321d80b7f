package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"sallyport/configs"
	"sallyport/proxy"
)

// maxErrorPage is how large an error page may be: it is kept in memory, and sent
// by a server that has trouble already.
const maxErrorPage = 64 << 10

// readErrorPages reads the error pages of every site.
func (s *service) readErrorPages() {
	for i, site := range s.config.Sites {
		var pages []proxy.ErrorPage
		for j, p := range site.ErrorPages {
			if !slices.Contains(proxy.ErrorStatuses, p.Status) {
				s.warn(fmt.Sprintf("sites[%d].error_pages[%d].status", i, j), "no error that is made here has status %d, and those of backends pass as they are", p.Status)
			}
			body, err := readErrorPage(p.File)
			if err != nil {
				s.problem(fmt.Sprintf("sites[%d].error_pages[%d].file", i, j), err)
			}
			pages = append(pages, proxy.ErrorPage{
				Status: p.Status, ContentType: configs.ErrorPageTypes[filepath.Ext(p.File)], Body: body,
			})
		}
		s.pages = append(s.pages, pages)
	}
}

func readErrorPage(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, hint(err, "it must be there, and readable by the user that the service runs as")
	}
	defer file.Close()
	body, err := io.ReadAll(io.LimitReader(file, maxErrorPage+1))
	if err == nil && len(body) > maxErrorPage {
		return nil, hint(fmt.Errorf("%s is larger than 64KiB", path), "pictures and styles can come from elsewhere")
	}
	return body, err
}
