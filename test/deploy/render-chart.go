// Renders a chart with the engine of Helm, Go's text/template, and the functions that Helm adds to it, as far as our
// chart uses them. Reads {"templates": {PATH: TEXT}, "data": {Values, Release, Chart}} and writes {PATH: TEXT}.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v3"
)

type input struct {
	Templates map[string]string      `json:"templates"`
	Data      map[string]interface{} `json:"data"`
}

func main() {
	var in input
	check(json.NewDecoder(os.Stdin).Decode(&in))
	in.Data["Template"] = map[string]interface{}{"BasePath": "templates"}
	// As Helm does: a value that is missing is empty.
	root := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := root.ExecuteTemplate(&out, name, data)
		return strings.ReplaceAll(out.String(), "<no value>", ""), err
	}
	functions["toYaml"] = func(value interface{}) (string, error) {
		out, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(out), "\n"), err
	}
	root.Funcs(functions)
	for path, text := range in.Templates {
		_, err := root.New(path).Parse(text)
		check(err)
	}
	rendered := map[string]string{}
	for path := range in.Templates {
		if strings.HasSuffix(path, ".tpl") {
			continue
		}
		var out strings.Builder
		check(root.ExecuteTemplate(&out, path, in.Data))
		rendered[path] = strings.ReplaceAll(out.String(), "<no value>", "")
	}
	check(json.NewEncoder(os.Stdout).Encode(rendered))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
