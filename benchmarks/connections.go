// Asks for one URL again and again, each time over a new TLS connection, as docker's and notary's clients do: net/http
// without keep-alive, the certificate verified. Prints how many answers came, and the middle of the times they took.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"
)

func main() {
	url := flag.String("url", "", "what to ask for")
	ca := flag.String("ca", "", "PEM file of the authority")
	authorization := flag.String("authorization", "", "the header")
	length := flag.Duration("length", 4*time.Second, "how long")
	workers := flag.Int("workers", 8, "how many at once")
	flag.Parse()
	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}
	end := time.Now().Add(*length)
	var mutex sync.Mutex
	var group sync.WaitGroup
	var took []time.Duration
	for range *workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for time.Now().Before(end) {
				began := time.Now()
				request, _ := http.NewRequest("GET", *url, nil)
				if *authorization != "" {
					request.Header.Set("Authorization", *authorization)
				}
				answer, err := client.Do(request)
				if err != nil {
					log.Fatal(err)
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != 200 {
					log.Fatal(answer.Status)
				}
				mutex.Lock()
				took = append(took, time.Since(began))
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	fmt.Println(len(took), took[len(took)/2].Seconds())
}
